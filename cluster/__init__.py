"""Running a schedule: on Ray actors, one GPU each, or on processes of this machine. Only this package imports ray.

worker     one replay slot: prepares a version's files, keeps its process alive between segments
executors  the contract that the driver talks to, and its implementation on threads
actors     its implementation on Ray
local      its implementation with processes of this machine
places     which of the two it is to be, found out without importing ray
driver     performs the dispatcher's instructions and reports events
"""
