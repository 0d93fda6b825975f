"""The OpenAI-compatible API: any client of OpenAI's can ask the model and its adapters here."""
