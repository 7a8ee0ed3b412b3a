// A small web application on nothing but Node.js itself.
'use strict';

const http = require('node:http');

const port = Number(process.env.PORT);
const index = process.env.CF_INSTANCE_INDEX ?? '?';

const server = http.createServer((request, response) => {
  console.log(`node: ${request.method} ${request.url}`);
  if (request.url !== '/') {
    response.writeHead(404).end('no such page\n');
    return;
  }
  response.writeHead(200, { 'Content-Type': 'text/plain; charset=utf-8' });
  response.end(`Hello from Node.js ${process.version}, instance ${index}\n`);
});

server.listen(port, () => console.log(`node: listening on ${port}`));

process.on('SIGTERM', () => {
  console.log('node: asked to stop');
  server.close();
  server.closeIdleConnections();
});
