// Shows the API's description. In a file of its own, because the content policy allows no script in the page.
SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true });
