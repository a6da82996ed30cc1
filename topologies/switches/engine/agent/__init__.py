"""The engine's OpenFlow 1.5 agent: what makes switches of the engine look like switches to a controller.

    controller ══ OpenFlow, a connection a switch ══> session ──> tables ──> engine's control socket

    wire        headers, errors, what goes where in a message
    oxm         match fields: OXM <-> the engine's words
    actions     actions, instructions, buckets <-> the engine's words
    flows       the rules of a switch as its controller knows them
    groups      its groups
    replies     what multipart replies are made of
    session     one switch's connection
    link        the connection to the engine
    changes     flow mods and group mods
    multipart   multipart requests
    switch      a switch, whoever is connected
    server      the loop
"""
