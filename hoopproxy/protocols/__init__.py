"""What each protocol means. One package a protocol."""
