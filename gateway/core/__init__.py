"""The vocabulary every floor shares: identifiers, flags, sequence sets, errors and every limit. No I/O."""
