"""Where networks come from: embedded, zoos, checkpoints, and layers whose filters mean one part."""
