"""The training loop, and the models trained with it: students, surrogates and private networks."""
