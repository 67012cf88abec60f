"""PURE: bytes to frames, frames to commands, and the one gate. No reactor here."""
