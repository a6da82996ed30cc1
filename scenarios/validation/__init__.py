"""Named checks of a scenario (`validate:`), answered from the files of a finished run.

    spec      what can be written                 evaluate  checks and facts -> what came of each, and of all
    names     do metrics, links, phases exist?    lines     the same as text
    facts     what a run directory has to say     junit     the same as CI systems read it
"""
