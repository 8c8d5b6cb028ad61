"""The resolved Job of a step, value by value, with the layer of each.

``facts`` has the records, ``settings`` the names of settings and layers, ``job`` reads the values out of a Job,
``explanation`` puts the answer together, ``document`` renders it as JSON. Pure: ``cli.explained_step`` fetches the
facts, ``cli.render.explained`` shows the answer.
"""
