"""What must survive a restart: UIDs, flags, delta links, pinned facts, journal. One contract, several engines."""
