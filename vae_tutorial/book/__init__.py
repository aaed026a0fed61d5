"""What the book uses: checks, tables, figures, seeds, widgets and weights trained in advance."""
