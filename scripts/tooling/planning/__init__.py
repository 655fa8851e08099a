"""What there is to build: recipes, lanes, what each is made from, which a change touches."""
