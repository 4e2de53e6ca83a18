"""Texts of an asked form."""
