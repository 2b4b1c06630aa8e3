"""How this machine talks to a node: a carrier starts a relay there, a link carries streams over it."""
