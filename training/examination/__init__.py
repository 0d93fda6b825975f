"""Base, current and candidate answer the same questions: figures, symptoms, and the verdict."""
