"""The web console: chat, review and adapters in a browser. The only package that imports nicegui."""
