"""Tests that state what the project claims; modules they share are imported from here."""
