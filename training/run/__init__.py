"""A whole run, from reviewed turns to a deployment: begun, resumed, ended, reported."""
