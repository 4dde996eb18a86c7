"""Published experiments as plain data, and the victims they need."""
