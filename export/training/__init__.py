"""Training: recipes, what they minimise, and checkpoints that an interrupted training goes on from."""
