"""Workshops: lessons that grade themselves.

    NN-name/lesson.yml   title, what may not be changed, hidden faults, answers asked for, checks: never copied
    NN-name/start/       what a learner gets        NN-name/README.md   what a learner reads
    NN-name/solution/    the same, solved, and why

    lesson    the files of a workshop         work      the learner's directory, read
    learner   start, solution, the mark       grade     work and a finished run -> what came of each check
    answers   answers.yml                     skeleton  functions that a learner wrote, called in a process of their own
"""
