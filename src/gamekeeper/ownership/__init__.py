"""Claims of ownership: made before a dispute, dated, and judged against models that nobody copied."""
