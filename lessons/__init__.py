"""The lessons: a class works through them, and each student's kernel trains the real network. See lessons/README.md."""
