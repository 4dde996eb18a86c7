"""The journal of a live service: what was answered, to whom, and what is remembered of them, durable before it is sent."""
