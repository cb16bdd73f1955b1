"""KEDA's and the HorizontalPodAutoscaler's decisions, tick for tick; pure, with every clock passed in."""
