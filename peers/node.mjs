// Node's http, stopped as its documentation says: close() ends idle connections and waits for the
// others.
import http from 'node:http';

const server = http.createServer((request, response) => {
  const [route, first, second] = request.url.split('/').slice(1);
  switch (route) {
    case 'sleep':
      setTimeout(() => response.end('slept\n'), Number(first));
      break;
    case 'stream': {
      let left = Number(first);
      const timer = setInterval(() => {
        response.write('chunk\n');
        if (--left === 0) {
          clearInterval(timer);
          response.end();
        }
      }, Number(second));
      break;
    }
    case 'bytes':
      response.end(Buffer.alloc(Number(first)));
      break;
    case 'echo':
      request.pipe(response);
      break;
    case 'reject':
      response.statusCode = 401;
      response.end();
      break;
    default:
      response.end('hello\n');
  }
});
server.listen(0, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
process.on('SIGTERM', () => {
  const grace = setTimeout(() => server.closeAllConnections(), 15000);
  server.close(() => {
    clearTimeout(grace);
    console.error('closed');
  });
});
