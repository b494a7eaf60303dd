"""``GET /docs``: the API in a browser, with files of our own, for networks without internet."""

from importlib.resources import files

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

FILES_PATH = "/docs-files"


def add_docs(app: FastAPI) -> None:
    """Serve Swagger UI from the package fastapi-offline instead of a content network."""
    app.mount(FILES_PATH, StaticFiles(directory=str(files("fastapi_offline") / "static")))

    @app.get("/docs", include_in_schema=False)
    async def get_docs(request: Request) -> HTMLResponse:
        # Behind a proxy that serves us under a prefix, links carry it.
        root = request.scope.get("root_path", "")
        return get_swagger_ui_html(
            openapi_url=f"{root}/openapi.json",
            title=f"{app.title}: API",
            swagger_js_url=f"{root}{FILES_PATH}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{FILES_PATH}/swagger-ui.css",
            swagger_favicon_url=f"{root}{FILES_PATH}/favicon.png",
        )
