"""Reading what others wrote: exports of chats, ratings and training files, one file a format.

`recognising` says what a file is by its content and reads it as `records`. Pure: nothing here knows the
database; who speaks is a pseudonym from the moment a message is read.
"""
