"""Names under which OpenFunction's Python framework keeps its types."""
