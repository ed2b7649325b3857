"""Truncation: whether what an endpoint cut off was wanted. Text cut off after its code block is no loss."""


def is_cut_off(finish_reason: str, text: str) -> bool:
    """Whether an answer ended for lack of tokens before its code block did (or before it began)."""
    return finish_reason == "length" and ("```" not in text or text.count("```") % 2 != 0)
