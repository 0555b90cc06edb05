"""Parts of networks, what networks cost, and the registry of networks, discriminators and mechanisms."""
