"""Building blocks of networks, their cost, and the registry of networks."""
