"""What is asked. ADD A TASK: one YAML in `catalog/`."""

from komt.tasks.fields import input_text, with_derived
from komt.tasks.own import add_folder_beside, load_task, own_tasks, pairs_task, recipe_tasks
from komt.tasks.render import UnusableRow, choose_template, prefaces, render
from komt.tasks.shots import few_shot, shown_groups
from komt.tasks.task import TASKS, Task, Template, read_task_file

__all__ = [
    "TASKS",
    "Task",
    "Template",
    "UnusableRow",
    "add_folder_beside",
    "choose_template",
    "few_shot",
    "input_text",
    "load_task",
    "own_tasks",
    "pairs_task",
    "prefaces",
    "read_task_file",
    "recipe_tasks",
    "render",
    "shown_groups",
    "with_derived",
]
