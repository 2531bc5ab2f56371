"""Settings, the errors and the envelope that OpenAI's clients read. Knows no HTTP library."""
