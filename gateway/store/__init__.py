"""What must outlive the process: UIDs, flags, links, facts, originals, the journal. One contract, one module
per engine."""
