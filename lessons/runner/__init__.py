"""What runs the lessons: `python -m lessons` starts at main.py.

main.py        the verbs                      course.py     which lessons there are, and where their files lie
grading.py     a hand-in checked, in a        child.py      that process: pytest over check.py, told line by line
               process with a time limit      handin.py     a student's file: loaded, called with guard rails
verdict.py     a result as text               exercises.py  exercise.py made from solution.py
pictures.py    show, for student and README   state.py      ticks and hints
trying.py      training with a student's op   lint.py, bank.py   the course checks itself
gradebook.py   many hand-ins, their marks     unpacking.py, board.py   how they come; their marks as a page
release.py     the students' tree; a class's own cases

What check.py and show.py import is `lessons.checking`."""
