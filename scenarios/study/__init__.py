"""Studies: designs of a network side by side, with the same seeds, and what the difference between them is.

    study file ─load─> Plan (every design compiled) ─execute─> runs/<id>/ as `aifab run` leaves them
                                                         │ collect
               report, table, CSV <─words, figures─ Analysis <─analysis─ StudyResult (study.json)
"""
