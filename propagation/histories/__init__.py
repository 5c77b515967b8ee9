"""Whole trees and histories: moved files and definitions, and the walk through the versions between."""
