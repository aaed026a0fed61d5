"""What only the book uses: checks, figures, seeds, widgets and weights trained in advance."""
