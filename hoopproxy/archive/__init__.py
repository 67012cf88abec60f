"""The archive: sealed segments, and what is needed to read them, away from this machine.

``layout``    names in an archive, and the notes that say what is whole (a contract)
``store``     what is asked of a place, and a folder as one; ``s3`` an S3-compatible one
``shipping``  what of a journal is due, and how it goes there
``making``    the store that a configuration or a person names
``consumer``  the reader of the trail that ships it
``reading``   an archive as the journals that it holds
"""
