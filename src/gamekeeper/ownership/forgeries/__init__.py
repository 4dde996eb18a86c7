"""Claims that a dishonest accuser makes to the letter of the procedure, on models that copied nothing."""
