"""Where in the older version a statement belongs, in order and in the state that it sees."""
