"""RFC 5322 and MIME by octet offsets into raw bytes. Values and functions only, no I/O."""
