"""Reading the trail: what a person, or the process that reads for one, gets out of the journals.

``filters``   which events somebody wants; a look at the bytes comes before the parse
``scope``     which events somebody may see
``answers``   the question, the pieces of an answer, and both as lines between two processes
``summary``   sessions in one line each, added up from their events
``journals``  events of one or several journals: all, the last ones, or as they become durable
``sessions``  finding a session, listing them, and what was recorded of one
``sealed``    which checkpoint covers what was read; ``proven`` what proves it
``searching`` events by what was said in them, with the help of the index
``notes``     what was noted about a session afterwards
``timeline``  everything in its order, with what changed around it
``ask``       question in, answer out
"""
