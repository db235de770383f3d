#!lua
-- Would a write be taken? A script that may write is refused by a server that is full, a replica or cannot save.
return {'OK'}
