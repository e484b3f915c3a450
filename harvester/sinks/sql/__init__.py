"""The sinks in SQL databases.

``base`` is the sink, ``driver`` what it needs of a database, ``schema`` the table of an interface,
``state`` the sink's own tables, ``stored`` what is read back.  ``sqlite``, ``postgresql`` and
``mysql`` (with ``mysql_server``) are the databases.
"""
