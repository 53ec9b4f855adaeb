"""What compare, evaluate and explain found as one page of HTML without scripts or further files."""

from edgeinfer.cli.pages.page import comparison_page, evaluation_page, explanation_page

__all__ = ["comparison_page", "evaluation_page", "explanation_page"]
