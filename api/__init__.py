"""Pure data under every other package: resource kinds, the neutral model, policies, conditions, control frames."""
