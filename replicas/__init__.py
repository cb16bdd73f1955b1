"""Which replicas exist and how work reaches them: the control stream, the table of credit, the HTTP client."""
