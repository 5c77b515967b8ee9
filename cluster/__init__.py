"""Running a schedule: on Ray actors, one GPU each, or on threads of this process. Only this package imports ray.

worker     one replay slot: prepares a version's files, keeps its process alive between segments
executors  the contract that the driver talks to, and its implementation on threads
actors     its implementation on Ray
driver     performs the dispatcher's instructions and reports events
"""
